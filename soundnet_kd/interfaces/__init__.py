"""How other libraries' users reach a student: scikit-learn's pipelines, the HEAR benchmark."""
