"""What all figures share: their style, fonts for names in any script, and the drawings that several commands need."""
