// The live half of a page that `lab serve` serves. A page that was built to disk
// does not name this file, and lacks nothing of what it says.

import { lab } from './api.js';
import { board } from './board.js';
import { panel } from './panel.js';
import { remember } from './predictions.js';

const FRONT = /^\/(index\.html|introduction\.html)?$/;

remember();
if (lab) panel(lab);
else if (FRONT.test(location.pathname)) board();
