process.stdout.write('DMB standalone: nothing to run yet\n');
