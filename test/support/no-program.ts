/** A module that exports something else than a program. */
export const program = { name: 'none' };
