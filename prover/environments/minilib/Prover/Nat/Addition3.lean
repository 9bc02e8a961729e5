prelude
import Prover.Nat.Addition2

/-! Addition is commutative and associative. -/

set_option autoImplicit false
namespace Nat

theorem add_comm (n m : Nat) : n + m = m + n := by
  induction m with
  | zero => rw [zero_add, add_zero]
  | succ m ih =>
    show succ (n + m) = succ m + n
    rw [succ_add, ih]

theorem add_assoc (n m k : Nat) : n + m + k = n + (m + k) := by
  induction k with
  | zero => rfl
  | succ k ih => exact congrArg succ ih

end Nat
