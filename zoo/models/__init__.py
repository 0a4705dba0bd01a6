"""Networks: built, loaded, frozen, folded, explained."""
