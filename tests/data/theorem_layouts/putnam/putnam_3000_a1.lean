import Mathlib
open Nat

/--
Show that equality can be read backwards.
-/
theorem putnam_3000_a1 (n : Nat) (h : n = 1) : 1 = n :=
sorry
