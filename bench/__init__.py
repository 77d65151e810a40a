"""How fast fastloss is: beside the machine's limits and beside its peers, in one run."""
