"""Everything that some folders hold about models as one HTML file: charts, tables, problems one by one, denoising replayed."""
