"""What `pocket` is taught, one file for each subject; every topic is a function from a random source to exchanges."""
