"""The ways to pretrain, one readable file each; the table of them is that of `zoo.pretrain.run`."""
