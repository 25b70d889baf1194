"""Which classes activate each neuron: statistics, comparison with chance, figures, and the file that holds them."""
