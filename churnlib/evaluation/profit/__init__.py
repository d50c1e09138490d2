"""What a retention campaign earns with a model: MPC, EMPC, and profit with each customer's own value."""
