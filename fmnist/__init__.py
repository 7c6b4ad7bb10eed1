"""Distributed batch training and scoring of image classifiers on a Ray cluster."""
