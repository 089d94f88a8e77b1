"""Label Studio's formats as pure conversions: labelling interface, tasks and exports."""
