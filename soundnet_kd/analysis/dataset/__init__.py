"""What is in a data set of short sounds: measures of each sound, anomalies, figures."""
