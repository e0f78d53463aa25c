// The gates by their names, in the order in which they are measured. Each takes
// the book and the browser, and answers with its figures and its offenders:
// where each is, and what it is.

import { accessibility, figureText } from './accessibility.mjs';
import { frame } from './frame.mjs';
import { html } from './html.mjs';
import { links } from './links.mjs';
import { narrow } from './narrow.mjs';
import { nojs } from './nojs.mjs';
import { requests, weight } from './requests.mjs';
import { search } from './search.mjs';

export const GATES = {
  accessibility,
  'figure-text': figureText,
  html,
  links,
  requests,
  nojs,
  weight,
  narrow,
  search,
  frame,
};
