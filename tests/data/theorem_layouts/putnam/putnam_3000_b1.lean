import Mathlib
open Nat

abbrev putnam_3000_b1_solution : Nat := sorry
-- 1
/--
Which number is it?
-/
theorem putnam_3000_b1 (n : Nat) (h : n = 1) : n = putnam_3000_b1_solution :=
sorry
