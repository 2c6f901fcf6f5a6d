"""The names that options of commands choose from, and defaults that their help names.

What a name stands for is said where it is used. Nothing is imported here, so that a command can show its help and
refuse a wrong word without loading what it needs to run.
"""

# Alignment: what is sought, what it maximises, what it starts from.
NONE, TRANSLATION, RIGID, AFFINE = LINEAR_MAPS = ('none', 'translation', 'rigid', 'affine')
CORRELATION, MUTUAL_INFORMATION, DESCRIPTORS, MATCHED = SIMILARITIES = ('ncc', 'mi', 'mind', 'matched')
ROTATIONS = 'rotations'
STARTS = ('auto', 'header', 'centres', 'masses', ROTATIONS)
TEMPLATE_ALIGNMENTS = (AFFINE, RIGID, NONE)

# What guides a deformation besides the images; `AUTO` is the network's segmentation where there is one.
NETWORK = 'network'
GUIDES = ('auto', NETWORK, NONE)
# In the place of the inverse map's weight: steps of the optimisation in both directions in turn.
IN_TURN = 'turns'
# What a registration computes on, and what exported programs are for.
AUTO, CPU, GPU = DEVICES = ('auto', 'cpu', 'gpu')
PLATFORMS = ('cpu', 'cuda', 'tpu')
# Seconds that a process of a run in several processes waits for the others.
JOIN_SECONDS = 300

# Transforms: conventions of files, units of points, how labels are interpolated.
ITK, FSL, LEARN2REG, VOXEL = FORMATS = ('itk', 'fsl', 'learn2reg', 'voxel')
LTA = 'lta'
# Those that are read; `FORMATS` are written, too.
CONVENTIONS = (*FORMATS, LTA)
MILLIMETRES, MILLIMETRES_LPS, VOXELS = POINT_UNITS = ('mm', 'mm-lps', 'voxel')
# What lies outside of an image is filled with; `AUTO` is the image's own background.
MINIMUM = 'min'
LABEL_INTERPOLATIONS = ('nearest', 'linear')
ROLES = ('fixed', 'moving')

# Formats of moved images.
NIFTI, *_ = IMAGE_FORMATS = ('nii.gz', 'nii', 'mgz', 'nrrd', 'mha')

# Data: parts of a data set, where it comes from, what its label ids mean, programs that take off the skull.
SPLITS = ('train', 'validation', 'test')
ACDC, JOINED = 'acdc', 'joined'
OASIS, MINDBOGGLE, BUCKNER, IXI, ADNI, ABIDE, ADHD, FOLDER = BRAIN_DATA_SETS = (
    'oasis',
    'mindboggle',
    'buckner',
    'ixi',
    'adni',
    'abide',
    'adhd',
    'folder',
)
DATA_SETS = (ACDC, *BRAIN_DATA_SETS, JOINED)
IDS, OASIS35, FREESURFER, DKT62, NEUROMORPHOMETRICS = LABEL_MEANINGS = (
    'ids',
    'oasis35',
    'freesurfer',
    'dkt62',
    'neuromorphometrics',
)
SYNTHSTRIP, HD_BET, BET = EXTRACTION_PROGRAMS = ('synthstrip', 'hd-bet', 'bet')
EXTRACTIONS = (AUTO, NONE, *EXTRACTION_PROGRAMS)

# Presets of the evaluation protocol.
DEFAULT_PROTOCOL, LEARN2REG_PROTOCOL, LINEAR_PROTOCOL = PROTOCOLS = ('default', 'learn2reg', 'linear')

# Networks whose weights can be ported, and whose names tensors have.
OURS, OFFICIAL = NAMINGS = ('ours', 'official')
AUTOFUSE_UNSUP, AUTOFUSE_SEMI = 'autofuse_unsup', 'autofuse_semi'
AUTOFUSE_TRANS_UNSUP, AUTOFUSE_TRANS_SEMI = 'autofuse_trans_unsup', 'autofuse_trans_semi'
AUTOFUSE_TRANS_SEMI_SWIN = 'autofuse_trans_semi_swin'
VOXELMORPH, LKU_NET, SEN, PC_REG, XMORPHER = 'voxelmorph', 'lku_net', 'sen', 'pc_reg', 'xmorpher'
TRANSMORPH, TRANSMATCH = 'transmorph', 'transmatch'
ARCHITECTURES = (
    AUTOFUSE_UNSUP,
    AUTOFUSE_SEMI,
    AUTOFUSE_TRANS_UNSUP,
    AUTOFUSE_TRANS_SEMI,
    AUTOFUSE_TRANS_SEMI_SWIN,
    VOXELMORPH,
    LKU_NET,
    SEN,
    PC_REG,
    XMORPHER,
    TRANSMORPH,
    TRANSMATCH,
)
