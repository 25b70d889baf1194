"""Networks prepared to be run, by PyTorch or by another engine."""
