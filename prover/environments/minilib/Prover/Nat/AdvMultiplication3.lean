prelude
import Prover.Nat.AdvMultiplication2

/-! The advanced multiplication world, all but its last level. -/

set_option autoImplicit false
namespace Nat

theorem mul_left_cancel_of_ne_zero {n m k : Nat} (h : n ≠ 0) (e : n * m = n * k) : m = k := by
  induction m generalizing k with
  | zero =>
    exact ((eq_zero_of_mul_eq_zero (e.symm.trans (mul_zero n))).resolve_left h).symm
  | succ m ih =>
    cases k with
    | zero => exact absurd ((eq_zero_of_mul_eq_zero e).resolve_left h) (succ_ne_zero m)
    | succ k => exact congrArg succ (ih (add_right_cancel e))

end Nat
