"""lesionlab: from a pile of lesion images to a classifier whose every number can be trusted.

Research use only: it is not a medical device and gives no advice to a patient.
"""

__version__ = "0.1.0"
