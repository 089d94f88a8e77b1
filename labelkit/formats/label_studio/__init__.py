"""Label Studio's own formats: labelling interface, tasks and exports, as pure conversions."""
