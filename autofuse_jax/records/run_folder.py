"""Names in the folder of a training run, by which it is known for one."""

CONFIG_NAME = 'config.json'
CHECKPOINTS_NAME = 'checkpoints'
