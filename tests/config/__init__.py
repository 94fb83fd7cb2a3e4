"""Tests of tunnelctl.config."""
