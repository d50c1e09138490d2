"""What a model's answer is made of."""
