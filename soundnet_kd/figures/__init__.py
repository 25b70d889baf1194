"""What all figures share: style and colours, panels, heat maps, curves, fonts for any script, drawings of filters."""
