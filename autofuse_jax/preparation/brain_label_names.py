"""Ids and names of the structures in three conventions of brain label maps, and how they belong together.

* neurite-OASIS (`aligned_seg35.nii.gz`): 35 structures, ids 1 to 35.
* FreeSurfer (`aseg`, `aparc+aseg`, and the DKT maps of Mindboggle-101): ids of FreeSurferColorLUT.txt.
* Neuromorphometrics (the labels of the MICCAI 2012 multi-atlas challenge).
"""

OASIS_PAIRED = (
    'Cerebral-White-Matter',
    'Cerebral-Cortex',
    'Lateral-Ventricle',
    'Inf-Lat-Ventricle',
    'Cerebellum-White-Matter',
    'Cerebellum-Cortex',
    'Thalamus',
    'Caudate',
    'Putamen',
    'Pallidum',
    'Hippocampus',
    'Amygdala',
    'Accumbens',
    'Ventral-DC',
    'Vessel',
    'Choroid-Plexus',
)
OASIS_MIDLINE = ('3rd-Ventricle', '4th-Ventricle', 'Brain-Stem')
# The midline structures come after this many pairs: ids 11, 12 and 13.
PAIRS_BEFORE_MIDLINE = 10

# The 19 structures that remain where left and right are one, in the order of the left ids 1 to 19.
MERGED_NAMES = (*OASIS_PAIRED[:PAIRS_BEFORE_MIDLINE], *OASIS_MIDLINE, *OASIS_PAIRED[PAIRS_BEFORE_MIDLINE:])
OASIS_NAMES = dict(
    enumerate(
        [name if name in OASIS_MIDLINE else f'Left-{name}' for name in MERGED_NAMES]
        + [f'Right-{name}' for name in OASIS_PAIRED],
        start=1,
    )
)

# Subcortical structure: (left id, right id), or (id,) on the midline.
FREESURFER_SUBCORTICAL = {
    'Cerebral-White-Matter': (2, 41),
    'Cerebral-Cortex': (3, 42),
    'Lateral-Ventricle': (4, 43),
    'Inf-Lat-Ventricle': (5, 44),
    'Cerebellum-White-Matter': (7, 46),
    'Cerebellum-Cortex': (8, 47),
    'Thalamus': (10, 49),
    'Caudate': (11, 50),
    'Putamen': (12, 51),
    'Pallidum': (13, 52),
    'Hippocampus': (17, 53),
    'Amygdala': (18, 54),
    'Accumbens': (26, 58),
    'Ventral-DC': (28, 60),
    'Vessel': (30, 62),
    'Choroid-Plexus': (31, 63),
    '3rd-Ventricle': (14,),
    '4th-Ventricle': (15,),
    'Brain-Stem': (16,),
}
# Named in FreeSurfer, but none of the 35 structures.
FREESURFER_OTHERS = {
    24: 'CSF',
    72: '5th-Ventricle',
    77: 'WM-hypointensities',
    80: 'non-WM-hypointensities',
    85: 'Optic-Chiasm',
    251: 'CC_Posterior',
    252: 'CC_Mid_Posterior',
    253: 'CC_Central',
    254: 'CC_Mid_Anterior',
    255: 'CC_Anterior',
}
# Cortical regions: 1000 + number on the left, 2000 + number on the right.
FREESURFER_LEFT, FREESURFER_RIGHT = 1000, 2000
DKT_REGIONS = {
    2: 'caudalanteriorcingulate',
    3: 'caudalmiddlefrontal',
    5: 'cuneus',
    6: 'entorhinal',
    7: 'fusiform',
    8: 'inferiorparietal',
    9: 'inferiortemporal',
    10: 'isthmuscingulate',
    11: 'lateraloccipital',
    12: 'lateralorbitofrontal',
    13: 'lingual',
    14: 'medialorbitofrontal',
    15: 'middletemporal',
    16: 'parahippocampal',
    17: 'paracentral',
    18: 'parsopercularis',
    19: 'parsorbitalis',
    20: 'parstriangularis',
    21: 'pericalcarine',
    22: 'postcentral',
    23: 'posteriorcingulate',
    24: 'precentral',
    25: 'precuneus',
    26: 'rostralanteriorcingulate',
    27: 'rostralmiddlefrontal',
    28: 'superiorfrontal',
    29: 'superiorparietal',
    30: 'superiortemporal',
    31: 'supramarginal',
    34: 'transversetemporal',
    35: 'insula',
}
# The Desikan-Killiany map has these too.
DESIKAN_REGIONS = {1: 'bankssts', 32: 'frontalpole', 33: 'temporalpole'}

NEUROMORPHOMETRICS_SUBCORTICAL = {
    'Cerebral-White-Matter': (45, 44),
    'Lateral-Ventricle': (52, 51),
    'Inf-Lat-Ventricle': (50, 49),
    'Cerebellum-White-Matter': (41, 40),
    'Cerebellum-Cortex': (39, 38),
    'Thalamus': (60, 59),
    'Caudate': (37, 36),
    'Putamen': (58, 57),
    'Pallidum': (56, 55),
    'Hippocampus': (48, 47),
    'Amygdala': (32, 31),
    'Accumbens': (30, 23),
    'Ventral-DC': (62, 61),
    'Vessel': (64, 63),
    '3rd-Ventricle': (4,),
    '4th-Ventricle': (11,),
    'Brain-Stem': (35,),
}
# Named by Neuromorphometrics, but none of the 35 structures.
NEUROMORPHOMETRICS_OTHERS = {
    15: '5th-Ventricle',
    46: 'CSF',
    69: 'Optic-Chiasm',
    71: 'Cerebellar vermal lobules I-V',
    72: 'Cerebellar vermal lobules VI-VII',
    73: 'Cerebellar vermal lobules VIII-X',
    75: 'Left basal forebrain',
    76: 'Right basal forebrain',
}
# Cortical regions: the even id is right, the next one left.
NEUROMORPHOMETRICS_CORTEX = {
    100: 'anterior cingulate gyrus',
    102: 'anterior insula',
    104: 'anterior orbital gyrus',
    106: 'angular gyrus',
    108: 'calcarine cortex',
    110: 'cingulate gyrus',
    112: 'central operculum',
    114: 'cuneus',
    116: 'entorhinal area',
    118: 'frontal operculum',
    120: 'frontal pole',
    122: 'fusiform gyrus',
    124: 'gyrus rectus',
    126: 'inferior frontal gyrus',
    128: 'inferior occipital gyrus',
    130: 'intermediate orbital gyrus',
    132: 'inferior temporal gyrus',
    134: 'lingual gyrus',
    136: 'lateral orbital gyrus',
    138: 'middle cingulate gyrus',
    140: 'medial frontal cortex',
    142: 'middle frontal gyrus',
    144: 'middle occipital gyrus',
    146: 'medial orbital gyrus',
    148: 'postcentral gyrus, medial segment',
    150: 'precentral gyrus, medial segment',
    152: 'superior frontal gyrus, medial segment',
    154: 'middle temporal gyrus',
    156: 'occipital pole',
    158: 'orbitofrontal cortex',
    160: 'occipital fusiform gyrus',
    162: 'opercular part of the inferior frontal gyrus',
    164: 'orbital part of the inferior frontal gyrus',
    166: 'posterior cingulate gyrus',
    168: 'precuneus',
    170: 'parahippocampal gyrus',
    172: 'posterior insula',
    174: 'parietal operculum',
    176: 'postcentral gyrus',
    178: 'posterior orbital gyrus',
    180: 'planum polare',
    182: 'precentral gyrus',
    184: 'planum temporale',
    186: 'subcallosal area',
    188: 'supracalcarine cortex',
    190: 'superior frontal gyrus',
    192: 'supplementary motor cortex',
    194: 'supramarginal gyrus',
    196: 'superior occipital gyrus',
    198: 'superior parietal lobule',
    200: 'superior temporal gyrus',
    202: 'temporal pole',
    204: 'triangular part of the inferior frontal gyrus',
    206: 'transverse temporal gyrus',
}
