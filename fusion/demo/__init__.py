"""The fixed job on the shipped task, from choice to page; nothing imports it but its command."""
