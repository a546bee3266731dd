"""Data sets by name, one file each: where it lies, its terms, how it is read, split; `archives`: those of MedMNIST."""
