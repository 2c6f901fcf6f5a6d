"""Every setting, its unit and its default; the other configs start from here."""

import ml_collections
from ml_collections import ConfigDict


def autofuse_model() -> ConfigDict:
    """Return the options of autofuse_jax.models.autofuse.AutoFuse."""
    model = _pair_network_model()
    model.fusion_channels = 0  # Base width of the fusion branch; 0: twice base_channels (paper).
    model.refining_channels = 0  # Base width of a branch that corrects the first velocity; 0: none (paper).
    model.descent_channels = 0  # Base width of a branch that corrects the velocity step by step; 0: none (paper).
    model.descent_steps = 3  # How many times it does.
    model.plane_channels = 0  # Base width of a branch that segments plane by plane, too; 0: none (paper).
    model.fusion_pooling = (1, 1, 1)  # Voxels of the images averaged into one of the fusion branch; ones: paper.
    model.fine_pooling = (0, 0, 0)  # The same of the single branch, divisors of fusion_pooling; zeros: fusion_pooling.
    model.fine_channels = 0  # With pooling: width of the single branch's blocks at full size; 0: base_channels.
    model.background_in_padding = False  # Slices without intensities are segmented as background; False: paper.
    model.compare_slices = False  # The first kernel of a thin level is 3 x 3 x 3 even so; False: paper.
    model.thin_levels = 0  # Finest levels of the single branch with kernels 3 x 3 x 1, for thick slices; 0: paper.
    return model


def _pair_network_model() -> ConfigDict:
    model = ConfigDict()
    model.base_channels = 16
    model.num_classes = 0  # Background included; 0: unsupervised, no segmentation.
    model.fusion = 'gate'  # 'gate', 'sum', 'concat' or 'none': how features join the fusion branch (Table 7).
    model.feed_segmentation = True  # False: the fusion branch sees the images only (Table 7).
    model.large_kernel = True  # Efficient large kernel blocks in the gates.
    model.output = 'velocity'  # 'velocity' (diffeomorphic) or 'displacement' (AutoFuse-disp).
    model.segmentation_feedback = 'softmax'  # 'softmax' or 'argmax' (official code).
    model.random_gate_bias = False  # True as in the official code; False: gates start at exactly 0.5.
    model.remat = 'none'  # Recompute to save memory: 'all', 'activations', or stages as in 'full_resolution,2,gates'.
    return model


def autofuse_trans_model() -> ConfigDict:
    """Return the options of autofuse_jax.models.autofuse_trans.AutoFuseTrans."""
    model = _pair_network_model()
    model.base_channels = 32  # Of a Swin single branch, a multiple of 8; the fusion branch is twice as wide.
    model.single_branch = 'swin'  # 'swin' (paper) or 'convolutional' (released semi-supervised network).
    model.depth = 2  # Swin blocks of a stage.
    model.window = (5, 5, 5)  # Attention window, voxels.
    model.relative_bias = 'geometric'  # Of windows cut to a small volume: 'geometric' or 'truncated' (official code).
    return model


def get_config() -> ml_collections.ConfigDict:
    """Return the paper's unsupervised AutoFuse and schedule, on the phantom."""
    config = ConfigDict()
    config.reproduce_official = False  # True: as the official code in all that training/official_switches.py lists.
    config.weights = ''  # File of weights (autofuse_jax.port_weights) to start from, or to evaluate; '': none.
    config.seed = 0  # Of the initial parameters, of the data order and of all draws.
    config.method = 'autofuse'  # A key of autofuse_jax.methods.registry.METHODS.

    config.data = ConfigDict()
    config.data.source = 'phantom'  # 'phantom' (synthetic, made on the spot) or 'prepared' (autofuse_jax.prepare).
    config.data.root = ''  # Folder of the prepared data; where the phantom is kept (empty: inside the workdir).
    config.data.grid = (0, 0, 0)  # Grid of the network, multiples of 16; zeros: the prepared shape.
    config.data.labelled_subjects = -1  # Training subjects whose labels may be used; -1: all that have labels.
    config.data.teacher = ''  # Folder of velocities of the training pairs (autofuse-jax teach); '': none.
    config.data.cache_gib = 4.0  # Memory for frames that stay loaded, GiB.
    config.data.threads = 0  # Reading threads; 0: one a core, at most 16.

    config.data.augmentation = ConfigDict()  # Of training pairs, the same for both frames; zeros: none (paper).
    config.data.augmentation.rotation = 0.0  # Largest rotation in the plane of the first two axes, degrees.
    config.data.augmentation.scale = 0.0  # Largest change of size in that plane, as a fraction.
    config.data.augmentation.shift = 0.0  # Largest shift in that plane, as a fraction of the grid.
    config.data.augmentation.gamma = 0.0  # Largest |log2| of the exponent applied to intensities.
    config.data.augmentation.elastic = 0.0  # Of each frame on its own: limit of control points, in their distance.

    config.data.phantom = ConfigDict()  # Used by source 'phantom' only.
    config.data.phantom.train = 12  # Subjects.
    config.data.phantom.validation = 3
    config.data.phantom.test = 6
    config.data.phantom.frames = 6  # Per subject and heart beat; ED and ES are labelled.
    config.data.phantom.shape = (48, 48, 16)  # Voxels.
    config.data.phantom.spacing = (3.0, 3.0, 6.0)  # Millimetres.
    config.data.phantom.seed = 0

    config.model = autofuse_model()

    config.loss = ConfigDict()  # Options of autofuse_jax.losses.autofuse_weights.ObjectiveWeights.
    config.loss.kl = 0.01  # sigma of Eq. 1.
    config.loss.prior_lambda = 50.0  # lambda of Eq. 1.
    config.loss.jacobian = 1e-5  # mu of Eq. 1.
    config.loss.jacobian_reduction = 'sum'  # 'sum' (grows with the volume, official) or 'mean'.
    config.loss.jacobian_determinant = 'correct'  # 'correct' or 'official' (does not see folds along two axes).
    config.loss.ncc_window = 9  # Voxels, odd.
    config.loss.segmentation = 1.0  # alpha of Eq. 2.
    config.loss.fusion = 1.0  # beta of Eq. 2.
    config.loss.consistency_grad = 'both'  # 'both', 'seg_only' (official in effect) or 'flow_only'.
    config.loss.label_warp = 'linear'  # 'linear' (trains the deformation) or 'nearest' (official; does not).
    config.loss.missing_labels = 'flags'  # 'flags' of each sample, or 'zeros': all-zero maps are missing (official).
    config.loss.ignore_absent = True  # Dice over the classes present; False: absent classes count 0 (official).
    config.loss.smoothness = 0.0  # Of the predicted field's squared gradient; 0: the KL divergence alone (paper).
    config.loss.segmentation_phases = ()  # Phases that train the single branch alone, on pairs 'labelled_frames'.
    config.loss.fusion_phases = ()  # Phases that train the fusion branch alone.
    config.loss.teacher = 0.0  # Weight of the squared distance to the velocities of data.teacher.
    config.loss.teacher_phases = ()  # Phases in which that term trains the fusion branch alone.
    config.loss.inverse = 0.0  # Weight of the same terms for the inverse map; 0: forward only (paper).

    config.inference = ConfigDict()
    config.inference.symmetric = False  # Average both orders of the images (not in the paper).
    config.inference.sample_velocity = False  # Sample the velocity (official); False: its mean, the same every time.

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = 'constant'  # 'constant' (paper) or 'cosine' (to zero at the last step).
    config.optimizer.warmup_steps = 0
    config.optimizer.clip_norm = 0.0  # Largest gradient norm; 0: no clipping.
    config.optimizer.multiples = ()  # Learning rates of groups: (('single_branch', 0.1), ('gate_fusion', 3.0)).
    config.optimizer.average_decay = 0.0  # Of a moving average of the parameters, which is evaluated; 0: none.

    # Carried out in the order of their names; the optimiser's state is kept. Pairs: a policy of data/pair_policies.py.
    # Crop: size of a part of each volume, drawn anew each time, that a step sees; 0 along an axis: all of it (paper).
    config.phases = ConfigDict()
    config.phases.phase_0 = ConfigDict({'steps': 0, 'pairs': 'intra_random', 'crop': (0, 0, 0)})
    config.phases.phase_1 = ConfigDict({'steps': 40_000, 'pairs': 'intra_random', 'crop': (0, 0, 0)})
    config.phases.phase_2 = ConfigDict({'steps': 10_000, 'pairs': 'ed_es', 'crop': (0, 0, 0)})

    config.training = ConfigDict()
    config.training.batch_size = 1  # Pairs a step, all devices together.
    config.training.devices = 0  # 0: all.
    config.training.depth_devices = 1  # Devices that share a volume, for what one cannot hold; others share the batch.
    config.training.precision = 'default'  # Of products on GPU and TPU: 'default' (fast), 'float32' or 'bfloat16'.
    config.training.log_every = 50  # Steps.
    config.training.validate_every = 1_000  # Steps; the best validation DSC is kept.
    config.training.checkpoint_every = 1_000  # Steps.
    config.training.max_minutes = 0.0  # Of one invocation, at least a step; 0: no limit. Ends with a checkpoint.
    config.training.check_memory = True  # Refuse a step that the device surely cannot hold, before compiling it.
    config.training.tensorboard = False
    config.training.compilation_cache = '~/.cache/autofuse_jax/xla'  # '': none.

    config.evaluation = ConfigDict()
    config.evaluation.split = 'test'  # 'train', 'validation' or 'test'.
    config.evaluation.pairs = 'ed_es'  # Only policies without random draws.
    config.evaluation.jacobian_determinant = 'correct'  # Of NJD: 'correct' or 'official'.
    config.evaluation.pictures = 4  # Pairs drawn, spread over the list; -1: all.
    config.lock()  # A misspelt field in a config that starts from here is an error.
    return config
