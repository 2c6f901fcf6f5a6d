"""Grey values learned from what an image shows around a voxel."""

import numpy as np

from autofuse_jax.registration import appearance
from autofuse_jax.registration.appearance import appearance_features, learn_appearance


def test_features_are_what_they_say():
    image = np.zeros((15, 15, 15), np.float32)
    image[7] = 1.0
    features = appearance_features(image).reshape(15, 15, 15, 6)
    np.testing.assert_array_equal(features[..., 0], image)
    # Of a layer one voxel thick the Gaussian keeps its own height, and its slope is steepest one deviation away.
    np.testing.assert_allclose(features[7, 7, 7, 1:3], [1 / np.sqrt(2 * np.pi * s**2) for s in (1, 2)], rtol=0.02)
    assert features[:, 7, 7, 4].argmax() in (6, 8) and features[7, 7, 7, 4] < 1e-6
    assert features[7, 7, 7, 5] < 0 < features[9, 7, 7, 5]


def test_a_function_of_two_features_is_learned_and_told_of_others():
    random = np.random.default_rng(1)
    features = random.normal(size=(4000, 2)).astype(np.float32)
    truth = lambda x: np.tanh(x[:, 0] * x[:, 1])  # noqa: E731
    learned = learn_appearance(features, truth(features) + 0.05 * random.normal(size=4000))
    unseen = random.uniform(-1.5, 1.5, (500, 2)).astype(np.float32)
    assert np.abs(learned(unseen) - truth(unseen)).mean() < 0.03
    assert learned(unseen).dtype == np.float32


def test_voxels_are_taken_in_pieces_and_by_lot(monkeypatch):
    features = np.linspace(-2, 2, 3000, dtype=np.float32)[:, None]
    whole = learn_appearance(features, features[:, 0] ** 2)(features)
    monkeypatch.setattr(appearance, 'ROWS', 700)
    np.testing.assert_allclose(learn_appearance(features, features[:, 0] ** 2)(features), whole, atol=1e-5)
    monkeypatch.setattr(appearance, 'SAMPLES', 500)
    few = learn_appearance(features, features[:, 0] ** 2)(features)
    assert np.abs(few - whole).max() < 0.02 and not np.array_equal(few, whole)


def test_a_constant_feature_says_nothing_and_harms_nothing():
    features = np.stack([np.linspace(0, 1, 1000), np.full(1000, 7.0)], axis=1).astype(np.float32)
    values = learn_appearance(features, features[:, 0])(features)
    np.testing.assert_allclose(values, features[:, 0], atol=0.02)
