"""Run the authors' PyTorch network and ours on the same images with the same weights, layer by layer.

    python -m experiments.agreement.compare_with_pytorch --networks=AutoFuse-Semi/networks.py --class=AutoFuse \\
        --out=record.json
    python -m experiments.agreement.compare_with_pytorch --networks=networks.py --weights=model.pt --size 128 128 32

--networks is your copy of the authors' file; it is executed, so use one you trust. Nothing of it is part of this
project. Without --weights both get random weights that make every layer matter. The noise of the velocity is zero on
both sides. Each side runs in a process of its own: once with all layers recorded, then timed without, synchronised.
"""

import argparse
import contextlib
import importlib.util
import inspect
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json
from autofuse_jax.porting.architectures import Architecture, is_buffer, recognise
from experiments.agreement.parity import reference_weights

# Their modules: ours, where both give the same output; {n} is a number, {m} the next one.
MODULES = {
    'SinglePath.conv_{n}': 'single_branch/conv_{n}',
    'FusionPath.conv_{n}': 'fusion_branch/conv_{n}',
    'FusionPath.FG_{n}': 'fusion_branch/gate_{n}',
    'FusionPath.reghead.mean_head': 'fusion_branch/registration_head/mean',
    'FusionPath.reghead.sigma_head': 'fusion_branch/registration_head/log_variance',
    'SinglePath.ReverseEmbed': 'single_branch/expanding_8',
    **{
        f'{theirs}.{name}': f'{ours}/{other}'
        for theirs, ours in (('SinglePath', 'single_branch'), ('FusionPath', 'fusion_branch'))
        for name, other in (
            ('PatchEmbed', 'patch_embedding'),
            ('trans_{n}', 'stage_{n}'),
            ('downsample_{n}', 'merging_{m}'),
            ('upsample_{n}', 'expanding_{m}'),
            ('backdim_{n}', 'projection_{n}'),
        )
    },
}
NUMBERS = range(1, 10)
RESULTS = ('flow', 'fixed segmentation', 'moving segmentation')
KIB, MIB = 2**10, 2**20
Arrays = dict[str, np.ndarray]


def module_names() -> dict[str, str]:
    """Return the names of all modules that may be compared, theirs to ours."""
    return {theirs.format(n=n, m=n + 1): ours.format(n=n, m=n + 1) for theirs, ours in MODULES.items() for n in NUMBERS}


def load_networks(path: Path) -> Any:
    """Import the user's file."""
    if not path.is_file():
        raise UserError(f'there is no file {path}', fix='correct --networks')
    spec = importlib.util.spec_from_file_location('user_networks', path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a module up by its name.
    sys.modules['user_networks'] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UserError(f'{path} cannot be imported ({error})', fix='install what it needs') from error
    return module


def build(options: argparse.Namespace) -> tuple[Any, Architecture]:
    """Construct the user's network and recognise it by the names of its tensors."""
    import torch

    module = load_networks(options.networks)
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, torch.nn.Module) and value.__module__ == module.__name__
    }
    if options.class_name not in classes:
        raise UserError(
            f'{options.networks} has no network {options.class_name!r}',
            expected=f'one of {", ".join(classes)}',
            fix='correct --class',
        )
    try:
        network = classes[options.class_name](**json.loads(options.arguments))
    except TypeError as error:
        raise UserError(
            f'{options.class_name} cannot be built ({error})',
            fix='give its arguments, --arguments=\'{"channel_num": 16}\'',
        ) from error
    names = [name for name, tensor in network.state_dict().items() if not is_buffer(name)]
    return network.eval(), recognise(names, official=True)


def weights_for(network: Any, options: argparse.Namespace) -> Arrays:
    """Return the weights of the file, or random ones."""
    if options.weights:
        from autofuse_jax.porting.torch_files import read_state_dict

        return {name: array for name, array in read_state_dict(options.weights).items() if not is_buffer(name)}
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if not is_buffer(name)}
    return reference_weights(list(shapes), list(shapes.values()), options.seed)


@contextlib.contextmanager
def no_noise(torch: Any) -> Iterator[None]:
    """Make every normal draw of torch zero (or the given mean)."""
    names = ('normal', 'randn', 'randn_like')
    functions = {name: getattr(torch, name) for name in names}
    torch.normal = lambda mean, std, *size, **options: mean if torch.is_tensor(mean) else torch.zeros(*size, **options)
    torch.randn, torch.randn_like = torch.zeros, torch.zeros_like
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(torch, name, function)


def run_torch(options: argparse.Namespace, images: np.ndarray) -> dict[str, Any]:
    """Run the user's network; returns weights, outputs of modules and network, times and memory."""
    import torch

    network, _ = build(options)
    weights = weights_for(network, options)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()}, strict=False)
    device = torch.device(options.device if options.device == 'cpu' else 'cuda')
    network.to(device)
    inputs = [torch.from_numpy(image[None, None]).to(device) for image in images]
    parameters = [p for p in inspect.signature(network.forward).parameters.values() if p.default is p.empty]
    # The semi-supervised networks also take the moving labels, which they do not look at outside training.
    inputs += [torch.zeros(1, device=device)] * (len(parameters) - len(inputs))
    outputs_of: dict[str, list[np.ndarray]] = {}

    def record(name: str) -> Callable:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) else output
            outputs_of.setdefault(name, []).append(first.detach().cpu().numpy())

        return hook

    compared = [(name, module) for name, module in network.named_modules() if name in module_names()]
    hooks = [module.register_forward_hook(record(name)) for name, module in compared]
    with torch.no_grad(), no_noise(torch):
        outputs = network(*inputs)
        for hook in hooks:
            hook.remove()
        # Of the volumes at full resolution with several channels the first is the flow, then come segmentations.
        volumes = [output for output in outputs if torch.is_tensor(output) and output.ndim == 5]
        volumes = [volume for volume in volumes if volume.shape[1] > 1 and volume.shape[2:] == inputs[0].shape[2:]]
        wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        before = peak_memory()
        times = measure(lambda: (network(*inputs), wait()), options.repeats)
    memory = torch.cuda.max_memory_allocated() if device.type == 'cuda' else peak_memory() - before
    return {
        'weights': weights,
        'modules': outputs_of,
        'results': {name: volume[0].cpu().numpy() for name, volume in zip(RESULTS, volumes, strict=False)},
        'seconds': times,
        'peak_mib': memory / MIB,
        'version': torch.__version__,
        'threads': torch.get_num_threads(),
    }


def run_jax(options: argparse.Namespace, images: np.ndarray, weights: Arrays) -> dict[str, Any]:
    """Run our network; returns the same as `run_torch`."""
    import jax

    if options.device == 'cpu':
        jax.config.update('jax_platforms', 'cpu')
    from autofuse_jax.methods.registry import METHODS
    from autofuse_jax.porting.convert import flatten, from_official, unflatten

    flat, architecture, model = from_official(weights)
    network = METHODS[architecture.method].network(**model)
    params = jax.device_put(unflatten(flat))
    inputs = [jax.numpy.asarray(image[None, ..., None]) for image in images]

    @jax.jit
    def with_modules(params: Any) -> tuple[Any, Any]:
        return network.apply({'params': params}, *inputs, capture_intermediates=True, mutable=['intermediates'])

    output, state = with_modules(params)
    modules = {
        name.removesuffix('/__call__'): np.asarray(values[0][0] if isinstance(values[0], tuple) else values[0])
        for name, values in flatten(state['intermediates']).items()
        if name.removesuffix('/__call__') in set(module_names().values())
    }
    results = (output.displacement, output.fixed_segmentation, output.moving_segmentation)
    results = {name: np.asarray(value[0]) for name, value in zip(RESULTS, results, strict=True) if value is not None}
    forward = jax.jit(lambda params, fixed, moving: network.apply({'params': params}, fixed, moving).displacement)
    compiled = forward.lower(params, *inputs).compile()
    before = peak_memory()
    times = measure(lambda: jax.block_until_ready(compiled(params, *inputs)), options.repeats)
    stats = jax.devices()[0].memory_stats() or {}
    memory = stats.get('peak_bytes_in_use', peak_memory() - before)
    return {
        'modules': modules,
        'results': results,
        'seconds': times,
        'peak_mib': memory / MIB,
        'compiled_temporary_mib': compiled.memory_analysis().temp_size_in_bytes / MIB,
        'architecture': architecture.name,
        'model': model,
    }


def measure(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Time a function after one call that does not count."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return {'median': statistics.median(times), 'minimum': min(times), 'maximum': max(times), 'repeats': repeats}


def peak_memory() -> int:
    """Return the largest resident size of this process so far, bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare what both sides have: modules in the order in which theirs ran, then results."""
    rows = []
    for name, calls in theirs['modules'].items():
        other = ours['modules'].get(module_names()[name])
        if other is None:
            continue
        # The single branch is called for the fixed and for the moving image; ours has both in one batch.
        for number, call in enumerate(calls):
            role = f' ({("fixed", "moving")[number]})' if len(calls) == 2 else ''
            rows.append(difference(name + role, channels_last(call, other[number]), other[number]))
    for name, value in theirs['results'].items():
        rows.append(difference(name, np.moveaxis(value, 0, -1), ours['results'][name]))
    return rows


def difference(name: str, theirs: np.ndarray, ours: np.ndarray) -> dict[str, Any]:
    """Return the largest difference and the largest value."""
    return {
        'name': name,
        'largest_difference': float(np.abs(theirs - ours).max()),
        'largest_value': float(np.abs(theirs).max()),
    }


def channels_last(theirs: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Bring a module's output, (1, C, D, H, W), (1, D, H, W, C) or (1, tokens, C), to the shape of ours."""
    value = theirs[0]
    if value.ndim == 4 and value.shape[0] == like.shape[-1] and value.shape[1:] == like.shape[:-1]:
        return np.moveaxis(value, 0, -1)
    return value.reshape(like.shape)


def in_process(function: Callable, *arguments: Any) -> Any:
    """Call a function in a fresh process, so that neither side's memory and threads are in the other's way."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(function, arguments)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides and return the record."""
    rng = np.random.default_rng(options.seed)
    images = rng.random((2, *options.size)).astype(np.float32)
    theirs = in_process(run_torch, options, images)
    ours = in_process(run_jax, options, images, theirs['weights'])
    sides = ('seconds', 'peak_mib')
    return {
        'network': ours['architecture'],
        'model': ours['model'],
        'size': list(options.size),
        'device': options.device,
        'weights': options.weights.name if options.weights else f'random, seed {options.seed}',
        'differences': differences(theirs, ours),
        'pytorch': {name: theirs[name] for name in (*sides, 'version', 'threads')},
        'ours': {name: ours[name] for name in (*sides, 'compiled_temporary_mib')},
        'speed_ratio': theirs['seconds']['median'] / ours['seconds']['median'],
    }


def show(record: dict[str, Any]) -> None:
    """Print the record as a table."""
    width = max(len(row['name']) for row in record['differences'])
    print(f'{record["network"]}, {" x ".join(map(str, record["size"]))}, weights: {record["weights"]}')
    for row in record['differences']:
        print(f'{row["name"]:{width}}  {row["largest_difference"]:.2e}  of {row["largest_value"]:.2e}')
    for side in ('pytorch', 'ours'):
        seconds, memory = record[side]['seconds'], record[side]['peak_mib']
        spread = f'{seconds["minimum"]:.3f} to {seconds["maximum"]:.3f}'
        print(f'{side:8} {seconds["median"]:.3f} s a pair ({spread}), peak {memory:.0f} MiB')
    print(f'ours is {record["speed_ratio"]:.2f} times as fast')


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', type=Path, required=True, help="your copy of the authors' networks.py")
    parser.add_argument('--class', dest='class_name', default='AutoFuse', help='its class; default AutoFuse')
    parser.add_argument('--arguments', default='{}', help='arguments of the class as JSON; default its own')
    parser.add_argument('--weights', type=Path, help='.pt file; default: random weights')
    parser.add_argument('--size', type=int, nargs=3, default=(64, 64, 32), help='D H W, multiples of 16')
    parser.add_argument('--device', choices=('cpu', 'gpu'), default='cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON record to write')
    options = parser.parse_args(arguments)

    def command() -> int:
        record = compare(options)
        show(record)
        if options.out:
            # Imported here: it starts jax, and the device belongs to the process that measures.
            from autofuse_jax.provenance import provenance

            write_json(options.out, provenance() | record)
        return 0

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
