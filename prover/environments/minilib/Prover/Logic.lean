prelude
import Prover.Tactics
import Prover.Notation

/-!
# Logic

Lemmas about connectives, quantifiers and equality, under the names and with the statements of Lean's own library;
function extensionality; classical reasoning from choice; decidability.
-/

set_option autoImplicit false
universe u v

/-! ## Equality and equivalence -/

attribute [symm] Eq.symm Iff.symm
attribute [refl] Iff.refl

@[symm] theorem Ne.symm {α : Sort u} {a b : α} (h : a ≠ b) : b ≠ a := fun e => h e.symm

@[symm] theorem HEq.symm {α β : Sort u} {a : α} {b : β} (h : HEq a b) : HEq b a :=
  @HEq.rec α a (fun {_} x _ => HEq x a) (HEq.refl a) β b h

theorem Eq.to_iff {a b : Prop} (h : a = b) : a ↔ b := by subst h; exact Iff.rfl

theorem iff_of_eq {a b : Prop} (h : a = b) : a ↔ b := h.to_iff

theorem Iff.to_eq {a b : Prop} (h : a ↔ b) : a = b := propext h

theorem congrFun' {α : Sort u} {β : Sort v} {f g : α → β} (h : f = g) (a : α) : f a = g a := congrFun h a

theorem Eq.mpr_prop {p q : Prop} (h : p = q) (k : q) : p := Eq.mpr h k

theorem Eq.mpr_not {p q : Prop} (h : p = q) (k : ¬q) : ¬p := by rw [h]; exact k

theorem eq_mpr_not {p q : Prop} (h : p = q) (k : ¬q) : ¬p := Eq.mpr_not h k

/-- Two functions that agree everywhere, as the relation of a quotient. -/
def funext.ptEq {α : Sort u} {β : α → Sort v} (f g : (x : α) → β x) : Prop := ∀ x, f x = g x

noncomputable def funext.ap {α : Sort u} {β : α → Sort v} (q : Quot (@funext.ptEq α β)) (x : α) : β x :=
  @Quot.lift ((x : α) → β x) (@funext.ptEq α β) (β x) (fun k => k x) (fun a b (e : funext.ptEq a b) => e x) q

theorem funext {α : Sort u} {β : α → Sort v} {f g : (x : α) → β x} (h : ∀ x, f x = g x) : f = g :=
  @congrArg (Quot (@funext.ptEq α β)) ((x : α) → β x) (Quot.mk _ f) (Quot.mk _ g) (@funext.ap α β)
    (@Quot.sound _ (@funext.ptEq α β) f g h)

/-! ## Connectives -/

theorem And.symm {a b : Prop} (h : a ∧ b) : b ∧ a := ⟨h.2, h.1⟩
theorem And.comm {a b : Prop} : a ∧ b ↔ b ∧ a := ⟨And.symm, And.symm⟩
theorem And.imp {a b c d : Prop} (f : a → c) (g : b → d) (h : a ∧ b) : c ∧ d := ⟨f h.1, g h.2⟩
theorem and_assoc {a b c : Prop} : (a ∧ b) ∧ c ↔ a ∧ b ∧ c :=
  ⟨fun h => ⟨h.1.1, h.1.2, h.2⟩, fun h => ⟨⟨h.1, h.2.1⟩, h.2.2⟩⟩

theorem Or.elim {a b c : Prop} (h : a ∨ b) (left : a → c) (right : b → c) : c := by
  cases h with
  | inl x => exact left x
  | inr x => exact right x

theorem Or.symm {a b : Prop} (h : a ∨ b) : b ∨ a := h.elim .inr .inl
theorem Or.comm {a b : Prop} : a ∨ b ↔ b ∨ a := ⟨Or.symm, Or.symm⟩
theorem Or.imp {a b c d : Prop} (f : a → c) (g : b → d) (h : a ∨ b) : c ∨ d :=
  h.elim (fun x => .inl (f x)) (fun x => .inr (g x))
theorem Or.resolve_left {a b : Prop} (h : a ∨ b) (na : ¬a) : b := h.elim (fun x => absurd x na) id
theorem Or.resolve_right {a b : Prop} (h : a ∨ b) (nb : ¬b) : a := h.elim id (fun x => absurd x nb)
theorem or_assoc {a b c : Prop} : (a ∨ b) ∨ c ↔ a ∨ b ∨ c :=
  ⟨fun h => h.elim (fun k => k.elim .inl fun x => .inr (.inl x)) fun x => .inr (.inr x),
   fun h => h.elim (fun x => .inl (.inl x)) fun k => k.elim (fun x => .inl (.inr x)) .inr⟩

theorem Iff.comm {a b : Prop} : (a ↔ b) ↔ (b ↔ a) := ⟨Iff.symm, Iff.symm⟩

theorem Not.elim {a b : Prop} (h : ¬a) (x : a) : b := absurd x h
theorem mt {a b : Prop} (h : a → b) (k : ¬b) : ¬a := fun x => k (h x)
theorem not_not_intro {p : Prop} (h : p) : ¬¬p := fun k => k h
theorem not_or {p q : Prop} : ¬(p ∨ q) ↔ ¬p ∧ ¬q :=
  ⟨fun h => ⟨fun a => h (.inl a), fun b => h (.inr b)⟩, fun h k => k.elim h.1 h.2⟩
theorem not_and {p q : Prop} : ¬(p ∧ q) ↔ (p → ¬q) := ⟨fun h a b => h ⟨a, b⟩, fun h k => h k.1 k.2⟩

/-! ## Quantifiers -/

theorem Exists.elim {α : Sort u} {p : α → Prop} {b : Prop} (h : ∃ x, p x) (k : ∀ a, p a → b) : b := by
  obtain ⟨x, hx⟩ := h
  exact k x hx

theorem not_exists {α : Sort u} {p : α → Prop} : (¬∃ x, p x) ↔ ∀ x, ¬p x :=
  ⟨fun h x k => h ⟨x, k⟩, fun h ⟨x, k⟩ => h x k⟩

/-! ## Classical reasoning: excluded middle from choice (Diaconescu) -/

set_option genCtorIdx true

structure Subtype {α : Sort u} (p : α → Prop) where
  val : α
  property : p val

namespace Classical

noncomputable def pick {α : Sort u} {p : α → Prop} (h : ∃ x, p x) : Subtype p :=
  choice (h.elim fun a k => Nonempty.intro (Subtype.mk a k))

noncomputable def choose {α : Sort u} {p : α → Prop} (h : ∃ x, p x) : α := (pick h).val

theorem choose_spec {α : Sort u} {p : α → Prop} (h : ∃ x, p x) : p (choose h) := (pick h).property

theorem em (p : Prop) : p ∨ ¬p := by
  have hu : ∃ x : Prop, x = True ∨ p := ⟨True, .inl rfl⟩
  have hv : ∃ x : Prop, x = False ∨ p := ⟨False, .inl rfl⟩
  -- If p holds, both predicates are the same, and so are the chosen witnesses.
  have key : p → choose hu = choose hv := by
    intro hp
    have e : (fun x : Prop => x = True ∨ p) = (fun x : Prop => x = False ∨ p) :=
      funext fun x => propext ⟨fun _ => .inr hp, fun _ => .inr hp⟩
    have g : ∀ (f g : Prop → Prop) (_ : f = g) (a : ∃ x, f x) (b : ∃ x, g x), choose a = choose b := by
      intro f g h a b
      subst h
      rfl
    exact g _ _ e hu hv
  rcases choose_spec hu with a | hp
  · rcases choose_spec hv with b | hp
    · right
      intro hp
      have t : True = False := a.symm.trans ((key hp).trans b)
      exact Eq.mp t True.intro
    · left; exact hp
  · left; exact hp

theorem byContradiction {p : Prop} (h : ¬p → False) : p := (em p).elim id fun n => (h n).elim

theorem byCases {p q : Prop} (h : p → q) (k : ¬p → q) : q := (em p).elim h k

theorem not_not {p : Prop} : ¬¬p ↔ p := ⟨fun h => byContradiction h, fun h k => k h⟩

theorem not_forall {α : Sort u} {p : α → Prop} : (¬∀ x, p x) ↔ ∃ x, ¬p x := by
  constructor
  · intro h
    apply byContradiction
    intro k
    exact h fun x => byContradiction fun n => k ⟨x, n⟩
  · rintro ⟨x, k⟩ h
    exact k (h x)

@[instance_reducible, scoped instance 10] noncomputable def propDecidable (p : Prop) : Decidable p :=
  choice ((em p).elim (fun h => Nonempty.intro (.isTrue h)) (fun h => Nonempty.intro (.isFalse h)))

end Classical

/-! ## Decidability -/

set_option checkBinderAnnotations false in
abbrev inferInstance {α : Sort u} [i : α] : α := i

theorem Decidable.em (p : Prop) [d : Decidable p] : p ∨ ¬p := by
  cases d with
  | isTrue h => exact .inl h
  | isFalse h => exact .inr h

theorem Decidable.byContradiction {p : Prop} [d : Decidable p] (h : ¬p → False) : p :=
  (Decidable.em p).elim id fun n => (h n).elim

noncomputable def Decidable.decide (p : Prop) [h : Decidable p] : Bool :=
  @Decidable.casesOn p (fun _ => Bool) h (fun _ => Bool.false) (fun _ => Bool.true)

export Decidable (isTrue isFalse decide)

theorem of_decide_eq_true {p : Prop} [d : Decidable p] (h : decide p = Bool.true) : p := by
  cases d with
  | isTrue k => exact k
  | isFalse k => cases h

theorem of_decide_eq_false {p : Prop} [d : Decidable p] (h : decide p = Bool.false) : ¬p := by
  cases d with
  | isTrue k => cases h
  | isFalse k => exact k

theorem decide_eq_true {p : Prop} [d : Decidable p] (h : p) : decide p = Bool.true := by
  cases d with
  | isTrue k => rfl
  | isFalse k => exact absurd h k

abbrev DecidableEq (α : Sort u) := (a b : α) → Decidable (a = b)

instance instDecidableTrue : Decidable True := .isTrue .intro

instance instDecidableFalse : Decidable False := .isFalse id

noncomputable instance instDecidableAnd {p q : Prop} [a : Decidable p] [b : Decidable q] : Decidable (p ∧ q) :=
  @Decidable.casesOn p (fun _ => Decidable (p ∧ q)) a (fun h => .isFalse fun k => h k.1)
    (fun h => @Decidable.casesOn q (fun _ => Decidable (p ∧ q)) b (fun k => .isFalse fun x => k x.2)
      (fun k => .isTrue ⟨h, k⟩))

noncomputable instance instDecidableOr {p q : Prop} [a : Decidable p] [b : Decidable q] : Decidable (p ∨ q) :=
  @Decidable.casesOn p (fun _ => Decidable (p ∨ q)) a
    (fun h => @Decidable.casesOn q (fun _ => Decidable (p ∨ q)) b (fun k => .isFalse fun x => x.elim h k)
      (fun k => .isTrue (.inr k)))
    (fun h => .isTrue (.inl h))

noncomputable instance instDecidableNot {p : Prop} [a : Decidable p] : Decidable (¬p) :=
  @Decidable.casesOn p (fun _ => Decidable (¬p)) a (fun h => .isTrue h) (fun h => .isFalse fun k => k h)

noncomputable instance instDecidableImp {p q : Prop} [a : Decidable p] [b : Decidable q] : Decidable (p → q) :=
  @Decidable.casesOn p (fun _ => Decidable (p → q)) a (fun h => .isTrue fun x => (h x).elim)
    (fun h => @Decidable.casesOn q (fun _ => Decidable (p → q)) b (fun k => .isFalse fun x => k (x h))
      (fun k => .isTrue fun _ => k))

noncomputable instance instDecidableIff {p q : Prop} [a : Decidable p] [b : Decidable q] : Decidable (p ↔ q) :=
  @Decidable.casesOn p (fun _ => Decidable (p ↔ q)) a
    (fun h => @Decidable.casesOn q (fun _ => Decidable (p ↔ q)) b
      (fun k => .isTrue ⟨fun x => (h x).elim, fun x => (k x).elim⟩) (fun k => .isFalse fun x => h (x.mpr k)))
    (fun h => @Decidable.casesOn q (fun _ => Decidable (p ↔ q)) b
      (fun k => .isFalse fun x => k (x.mp h)) (fun k => .isTrue ⟨fun _ => k, fun _ => h⟩))

noncomputable instance instDecidableNe {α : Sort u} (a b : α) [d : Decidable (a = b)] : Decidable (a ≠ b) :=
  @instDecidableNot (a = b) d
