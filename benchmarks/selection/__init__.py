"""How members are chosen from few rows: rules of selection and temperatures, on pools of real predictions."""
