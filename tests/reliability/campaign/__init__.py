"""The reliability campaign: commands are killed, disks are full, files damaged, neighbours meet; nothing is lost."""
