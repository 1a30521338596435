"""The process that downloads what mirrors lack: in the order of use, within a limit, verified."""
