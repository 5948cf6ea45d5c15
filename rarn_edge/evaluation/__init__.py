"""What is known of a model beyond its accuracy: confidence, copies of training faces, roll, the data it was judged on."""
