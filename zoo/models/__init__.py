"""Networks: building, weights, frozen stages, folding, precision and heat maps."""
