"""Many images to one table: in parts that are each written once, so that a killed run goes on where it was."""
