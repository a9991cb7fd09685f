/** Bounds of the client API that instance documents tell. */
export const profileLimits = {
  nameCharactersMax: 30,
  nameBytesMax: 512,
  noteCharactersMax: 500,
  noteBytesMax: 8_192,
  fieldsMax: 4,
  fieldNameCharactersMax: 255,
  fieldValueCharactersMax: 255,
  fieldBytesMax: 1_024,
} as const;
