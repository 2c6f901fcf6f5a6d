"""The comparison with a PyTorch network, on our own PyTorch version of it, which is right and then wrong."""

import json

import pytest

from experiments.agreement.compare_with_pytorch import main

pytest.importorskip('torch')
NETWORKS = 'tests/torch_networks.py'


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    from experiments.agreement.parity import REPOSITORY

    monkeypatch.chdir(REPOSITORY)


def run(tmp_path, *arguments, networks=NETWORKS):
    out = tmp_path / 'record.json'
    shared = ['--size', '16', '32', '32', '--repeats=1', f'--out={out}', f'--networks={networks}']
    assert main([*shared, *arguments]) == 0
    record = json.loads(out.read_text())
    return record, {row['name']: row for row in record['differences']}


LAYERS = {
    'AutoFuseSemi': {'SinglePath.conv_9 (moving)', 'FusionPath.conv_1', 'FusionPath.FG_8'},
    'AutoFuseTransSemi': {
        'SinglePath.conv_9 (moving)',
        'FusionPath.PatchEmbed',
        'FusionPath.trans_4',
        'FusionPath.downsample_3',
        'FusionPath.upsample_4',
        'FusionPath.backdim_5',
        'FusionPath.FG_7',
    },
}


@pytest.mark.slow
# Segmentations are fed back by their argmax. With the Swin network's weights of seed 0 two classes of a voxel are equal
# up to rounding, and the networks choose differently.
@pytest.mark.parametrize(('name', 'seed'), [('AutoFuseSemi', 0), ('AutoFuseTransSemi', 1)])
def test_every_layer_agrees(tmp_path, capsys, name, seed):
    record, rows = run(
        tmp_path, f'--class={name}', '--arguments={"channel_num": 8, "num_classes": 3}', f'--seed={seed}'
    )
    assert record['network'].endswith('semi') and record['model']['num_classes'] == 3
    results = {'flow', 'fixed segmentation', 'moving segmentation', 'FusionPath.reghead.mean_head'}
    assert rows.keys() >= LAYERS[name] | results
    for row in rows.values():
        assert row['largest_difference'] < 1e-4 * max(1, row['largest_value']), row
    assert rows['flow']['largest_value'] > 0.1
    for side in ('pytorch', 'ours'):
        assert record[side]['seconds']['median'] > 0 and record[side]['peak_mib'] >= 0
    assert 'times as fast' in capsys.readouterr().out


@pytest.mark.slow
def test_a_wrong_layer_is_found(tmp_path):
    """The first row that differs names the layer that was changed."""
    text = open(NETWORKS, encoding='utf-8').read()
    wrong = tmp_path / 'networks.py'
    assert text.count('F.leaky_relu(x, 0.2)') == 1
    wrong.write_text(text.replace('F.leaky_relu(x, 0.2)', 'F.leaky_relu(x, 0.1)'), encoding='utf-8')
    record, rows = run(tmp_path, '--class=AutoFuse', '--arguments={"channel_num": 2}', networks=wrong)
    assert record['network'] == 'autofuse_unsup'
    assert record['differences'][0]['name'] == 'SinglePath.conv_1 (fixed)'
    assert rows['SinglePath.conv_1 (fixed)']['largest_difference'] > 0.01 and rows['flow']['largest_difference'] > 0.01


def test_wrong_input_is_told_in_one_line(tmp_path, capsys):
    assert main(['--networks=absent.py']) == 2
    assert 'there is no file absent.py' in capsys.readouterr().err
    (tmp_path / 'networks.py').write_text('import no_such_module')
    assert main([f'--networks={tmp_path / "networks.py"}']) == 2
    assert 'no_such_module' in capsys.readouterr().err
    assert main([f'--networks={NETWORKS}', '--class=Other']) == 2
    assert "no network 'Other'" in capsys.readouterr().err
