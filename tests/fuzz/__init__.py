"""What must hold for any text whatever, tried by hypothesis in every test run and by atheris in `make fuzz`."""
