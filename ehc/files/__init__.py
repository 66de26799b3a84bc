"""Large files of other systems: cut into pieces, one start at a time, told how far they are. The rooms say what is in them."""
