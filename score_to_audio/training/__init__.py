"""What the trainers of all models share: the loop, updates of weights, and the folder of a training.

A trainer gives the loop a plan of each epoch, one step, and a validation; losses and data are its own.
"""
