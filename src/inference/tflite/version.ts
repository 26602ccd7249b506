/**
 * Rises with every change of what `convertTflite` writes for the same file, so that converted files of older versions
 * are made anew.
 */
export const CONVERTER_VERSION = 2;
