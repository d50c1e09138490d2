"""What to do about customers who may leave: offers, what each would change and cost, and a plan within a budget."""
