import pytest

from autofuse_jax.preparation.persons import images_of_persons, is_visit, person_of, persons_in_several


@pytest.mark.parametrize(
    ('name', 'person'),
    [
        ('sub-01_ses-2_T1w', 'sub-01'),
        ('OAS1_0061_MR2', 'OAS1_0061'),
        ('s1-session_1', 's1'),
        ('patient001_frame12', 'patient001'),
        ('p7_ES', 'p7'),
        ('case1_T50', 'case1'),
        ('session_2_anna', 'anna'),
        ('anna_follow-up2', 'anna'),
        ('IXI002-Guys-0828', 'IXI002-Guys-0828'),
        ('scan12', 'scan12'),
        ('estelle', 'estelle'),
        ('timer_1', 'timer_1'),
    ],
)
def test_person_is_the_name_without_the_visit(name, person):
    assert person_of(name) == person


def test_a_visit_alone_names_nobody():
    assert is_visit('ses-2') and is_visit('Session_1') and not is_visit('s1') and not is_visit('ses-2_T1w')


def test_images_are_grouped_only_where_people_have_several():
    assert images_of_persons(['a_v1', 'a_visit1', 'a_visit2', 'b_visit1']) == {
        'a_v1': ['a_v1'],
        'a': ['a_visit1', 'a_visit2'],
        'b': ['b_visit1'],
    }
    # One visit each: their own names, so that a draw is the one it was.
    assert images_of_persons(['a_visit1', 'b_visit1']) == {'a_visit1': ['a_visit1'], 'b_visit1': ['b_visit1']}
    # 'study' is no person who was scanned seven times.
    numbered = [f'study_scan{number}' for number in range(7)]
    assert images_of_persons(numbered) == {name: [name] for name in numbered}


def test_who_is_learned_from_and_tested_on_is_found():
    assert persons_in_several({'a_visit1': 'train', 'a_visit2': 'test', 'b': 'train', 'c': 'test'}) == ['a']
    assert persons_in_several({'a_visit1': 'validation', 'a_visit2': 'test', 'b': 'train', 'b_visit1': 'train'}) == []
