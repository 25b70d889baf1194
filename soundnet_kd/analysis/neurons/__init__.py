"""Which classes each neuron answers to: statistics, chance, figures, and the file that holds them."""
