prelude
import Prover.Nat.Multiplication1

/-! The multiplication world after its third level. -/

set_option autoImplicit false
namespace Nat

theorem succ_mul (n m : Nat) : succ n * m = n * m + m := by
  induction m with
  | zero => rfl
  | succ m ih =>
    show succ n * m + succ n = n * m + n + succ m
    rw [ih, add_succ, add_succ, add_right_comm]

end Nat
