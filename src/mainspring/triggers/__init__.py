"""What asks for jobs besides calls: the clock."""
