"""How other libraries' users reach a network: scikit-learn's pipelines, the HEAR benchmark."""
