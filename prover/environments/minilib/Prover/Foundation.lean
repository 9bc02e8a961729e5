prelude

/-!
# Foundation

The types, classes and axioms that Lean's elaborator, tactics and kernel refer to by name, stated as Lean's own library
states them. There is no notation yet, so terms are written out.

Axioms: `propext`, `Quot.sound`, `Classical.choice`, which certification allows; `sorryAx`, which it refuses; and four
`unsafe` ones that the compiler asks for and that the kernel lets no theorem use.
-/

set_option autoImplicit false
set_option genCtorIdx false
universe u v w

/-! ## What the compiler asks for -/

unsafe axiom lcProof {α : Prop} : α
unsafe axiom lcAny : Type
unsafe axiom lcErased : Type
unsafe axiom lcVoid : Type

/-! ## Unit, truth, falsity, equality -/

set_option bootstrap.inductiveCheckResultingUniverse false in
inductive PUnit : Sort u where
  | unit : PUnit

abbrev Unit : Type := PUnit
abbrev Unit.unit : Unit := PUnit.unit

def id {α : Sort u} (a : α) : α := a

abbrev Function.const {α : Sort u} (β : Sort v) (a : α) : β → α := fun _ => a

@[reducible] def outParam (α : Sort u) : Sort u := α

inductive True : Prop where
  | intro : True

theorem trivial : True := True.intro

inductive False : Prop

def False.elim {C : Sort u} (h : False) : C := @False.rec (fun _ => C) h

inductive Eq {α : Sort u} : α → α → Prop where
  | refl (a : α) : Eq a a

theorem rfl {α : Sort u} {a : α} : Eq a a := Eq.refl a

abbrev Eq.ndrec.{u1, u2} {α : Sort u2} {a : α} {motive : α → Sort u1} (m : motive a) {b : α} (h : Eq a b) : motive b :=
  @Eq.rec α a (fun x _ => motive x) m b h

theorem Eq.subst {α : Sort u} {motive : α → Prop} {a b : α} (h : Eq a b) (m : motive a) : motive b :=
  @Eq.rec α a (fun x _ => motive x) m b h

theorem Eq.symm {α : Sort u} {a b : α} (h : Eq a b) : Eq b a :=
  @Eq.rec α a (fun x _ => Eq x a) (Eq.refl a) b h

theorem Eq.trans {α : Sort u} {a b c : α} (h₁ : Eq a b) (h₂ : Eq b c) : Eq a c :=
  @Eq.rec α b (fun x _ => Eq a x) h₁ c h₂

abbrev Eq.mp {α β : Sort u} (h : Eq α β) (a : α) : β := @Eq.rec (Sort u) α (fun x _ => x) a β h

abbrev Eq.mpr {α β : Sort u} (h : Eq α β) (b : β) : α := @Eq.rec (Sort u) β (fun x _ => x) b α (Eq.symm h)

theorem congrArg {α : Sort u} {β : Sort v} {a₁ a₂ : α} (f : α → β) (h : Eq a₁ a₂) : Eq (f a₁) (f a₂) :=
  @Eq.rec α a₁ (fun x _ => Eq (f a₁) (f x)) (Eq.refl (f a₁)) a₂ h

theorem congrFun {α : Sort u} {β : α → Sort v} {f g : (x : α) → β x} (h : Eq f g) (a : α) : Eq (f a) (g a) :=
  @Eq.rec _ f (fun k _ => Eq (f a) (k a)) (Eq.refl (f a)) g h

theorem congr {α : Sort u} {β : Sort v} {f g : α → β} {a b : α} (h : Eq f g) (e : Eq a b) : Eq (f a) (g b) :=
  Eq.trans (congrFun h a) (congrArg g e)

inductive HEq {α : Sort u} : α → {β : Sort u} → β → Prop where
  | refl (a : α) : HEq a a

theorem HEq.rfl {α : Sort u} {a : α} : HEq a a := HEq.refl a

theorem heq_of_eq {α : Sort u} {a a' : α} (h : Eq a a') : HEq a a' :=
  @Eq.rec α a (fun x _ => HEq a x) (HEq.refl a) a' h

theorem eq_of_heq {α : Sort u} {a a' : α} (h : HEq a a') : Eq a a' :=
  have (α β : Sort u) (a : α) (b : β) (h : HEq a b) (e : Eq α β) : Eq (@Eq.rec (Sort u) α (fun x _ => x) a β e) b :=
    @HEq.rec α a (fun {β} b _ => (e : Eq α β) → Eq (@Eq.rec (Sort u) α (fun x _ => x) a β e) b)
      (fun _ => Eq.refl a) β b h e
  this α α a a' h (Eq.refl α)

/-! ## Pairs and universe lifting (the equation compiler builds with them) -/

structure PProd (α : Sort u) (β : Sort v) where
  fst : α
  snd : β

structure Prod (α : Type u) (β : Type v) where
  fst : α
  snd : β

structure PULift.{r, s} (α : Sort s) : Sort (max s 1 r) where
  up ::
  down : α

structure ULift.{r, s} (α : Type s) : Type (max s r) where
  up ::
  down : α

/-! ## Connectives and quantifiers -/

def Not (a : Prop) : Prop := a → False

def absurd {a : Prop} {b : Sort v} (h₁ : a) (h₂ : Not a) : b := False.elim (h₂ h₁)

def Ne {α : Sort u} (a b : α) : Prop := Eq a b → False

structure And (a b : Prop) : Prop where
  intro ::
  left : a
  right : b

inductive Or (a b : Prop) : Prop where
  | inl (h : a) : Or a b
  | inr (h : b) : Or a b

structure Iff (a b : Prop) : Prop where
  intro ::
  mp : a → b
  mpr : b → a

theorem Iff.refl (a : Prop) : Iff a a := Iff.intro (fun h => h) (fun h => h)

theorem Iff.rfl {a : Prop} : Iff a a := Iff.refl a

theorem Iff.symm {a b : Prop} (h : Iff a b) : Iff b a := Iff.intro h.mpr h.mp

theorem Iff.trans {a b c : Prop} (h : Iff a b) (k : Iff b c) : Iff a c :=
  Iff.intro (fun x => k.mp (h.mp x)) (fun x => h.mpr (k.mpr x))

inductive Exists {α : Sort u} (p : α → Prop) : Prop where
  | intro (w : α) (h : p w) : Exists p

class Inhabited (α : Sort u) where
  default : α

class inductive Nonempty (α : Sort u) : Prop where
  | intro (val : α) : Nonempty α

/-! ## Natural numbers, truth values, decidability

`Nat.add`, `sub`, `mul`, `pred`, `beq` and `ble` are among the names that the kernel evaluates on literals by its own
arithmetic, whatever their definitions say; so these definitions have to be the true ones (see also `Prover.Reserved`).
-/

inductive Nat where
  | zero : Nat
  | succ (n : Nat) : Nat

inductive Bool : Type where
  | false : Bool
  | true : Bool

def cond {α : Sort u} (c : Bool) (x y : α) : α := @Bool.casesOn (fun _ => α) c y x

class OfNat (α : Type u) (n : Nat) where
  ofNat : α

instance instOfNatNat (n : Nat) : OfNat Nat n := OfNat.mk n

noncomputable def Nat.add (a b : Nat) : Nat := match b with
  | Nat.zero => a
  | Nat.succ k => Nat.succ (Nat.add a k)

noncomputable def Nat.mul (a b : Nat) : Nat := match b with
  | Nat.zero => Nat.zero
  | Nat.succ k => Nat.add (Nat.mul a k) a

noncomputable def Nat.pred (n : Nat) : Nat := @Nat.rec (fun _ => Nat) Nat.zero (fun k _ => k) n

@[extern "lean_nat_sub"] def Nat.sub (a b : Nat) : Nat := @Nat.rec (fun _ => Nat) a (fun _ ih => Nat.pred ih) b

noncomputable def Nat.beq (a b : Nat) : Bool :=
  @Nat.rec (fun _ => Nat → Bool)
    (fun b => @Nat.rec (fun _ => Bool) Bool.true (fun _ _ => Bool.false) b)
    (fun _ ih b => @Nat.rec (fun _ => Bool) Bool.false (fun k _ => ih k) b) a b

noncomputable def Nat.ble (a b : Nat) : Bool :=
  @Nat.rec (fun _ => Nat → Bool) (fun _ => Bool.true)
    (fun _ ih b => @Nat.rec (fun _ => Bool) Bool.false (fun k _ => ih k) b) a b

theorem Nat.beq_self (n : Nat) : Eq (Nat.beq n n) Bool.true :=
  @Nat.rec (fun n => Eq (Nat.beq n n) Bool.true) (Eq.refl _) (fun _ ih => ih) n

/-- Lets `cases` and `contradiction` tell the constructors of an enumeration apart. -/
theorem noConfusion_of_Nat {α : Sort u} (f : α → Nat) {a b : α} (h : Eq a b) :
    @Bool.rec (fun _ => Prop) False True (Nat.beq (f a) (f b)) :=
  @Eq.rec α a (fun x _ => @Bool.rec (fun _ => Prop) False True (Nat.beq (f a) (f x)))
    (@Eq.rec Bool Bool.true (fun c _ => @Bool.rec (fun _ => Prop) False True c) True.intro (Nat.beq (f a) (f a))
      (Eq.symm (Nat.beq_self (f a)))) b h

class inductive Decidable (p : Prop) where
  | isFalse (h : Not p) : Decidable p
  | isTrue (h : p) : Decidable p

theorem Bool.false_ne_true (h : Eq Bool.false Bool.true) : False :=
  @Eq.rec Bool Bool.false (fun c _ => @Bool.rec (fun _ => Prop) True False c) True.intro Bool.true h

theorem Nat.eq_of_beq_eq_true {n m : Nat} (h : Eq (Nat.beq n m) Bool.true) : Eq n m :=
  @Nat.rec (fun n => ∀ m, Eq (Nat.beq n m) Bool.true → Eq n m)
    (fun m => @Nat.rec (fun m => Eq (Nat.beq Nat.zero m) Bool.true → Eq Nat.zero m) (fun _ => Eq.refl _)
      (fun _ _ h => False.elim (Bool.false_ne_true h)) m)
    (fun n ih m => @Nat.rec (fun m => Eq (Nat.beq (Nat.succ n) m) Bool.true → Eq (Nat.succ n) m)
      (fun h => False.elim (Bool.false_ne_true h)) (fun m _ h => congrArg Nat.succ (ih m h)) m) n m h

theorem Nat.ne_of_beq_eq_false {n m : Nat} (h : Eq (Nat.beq n m) Bool.false) : Not (Eq n m) :=
  fun e => Bool.false_ne_true
    (Eq.trans (Eq.symm h) (@Eq.rec Nat n (fun x _ => Eq (Nat.beq n x) Bool.true) (Nat.beq_self n) m e))

@[instance_reducible, extern "lean_nat_dec_eq"] def Nat.decEq (n m : Nat) : Decidable (Eq n m) :=
  @Bool.rec (fun c => Eq (Nat.beq n m) c → Decidable (Eq n m))
    (fun h => Decidable.isFalse (Nat.ne_of_beq_eq_false h))
    (fun h => Decidable.isTrue (Nat.eq_of_beq_eq_true h)) (Nat.beq n m) rfl

def dite {α : Sort u} (c : Prop) [h : Decidable c] (t : c → α) (e : Not c → α) : α :=
  @Decidable.casesOn c (fun _ => α) h e t

def ite {α : Sort u} (c : Prop) [h : Decidable c] (t e : α) : α :=
  @Decidable.casesOn c (fun _ => α) h (fun _ => e) (fun _ => t)

/-! ## Operators -/

class HAdd (α : Type u) (β : Type v) (γ : outParam (Type w)) where
  hAdd : α → β → γ
class HMul (α : Type u) (β : Type v) (γ : outParam (Type w)) where
  hMul : α → β → γ
class HSub (α : Type u) (β : Type v) (γ : outParam (Type w)) where
  hSub : α → β → γ
class Add (α : Type u) where
  add : α → α → α
class Mul (α : Type u) where
  mul : α → α → α
class Sub (α : Type u) where
  sub : α → α → α
class LE (α : Type u) where
  le : α → α → Prop
class LT (α : Type u) where
  lt : α → α → Prop

abbrev GE.ge {α : Type u} [LE α] (a b : α) : Prop := LE.le b a
abbrev GT.gt {α : Type u} [LT α] (a b : α) : Prop := LT.lt b a

@[default_instance] instance instHAdd {α : Type u} [Add α] : HAdd α α α := HAdd.mk (fun a b => Add.add a b)
@[default_instance] instance instHMul {α : Type u} [Mul α] : HMul α α α := HMul.mk (fun a b => Mul.mul a b)
@[default_instance] instance instHSub {α : Type u} [Sub α] : HSub α α α := HSub.mk (fun a b => Sub.sub a b)

noncomputable instance instAddNat : Add Nat := Add.mk Nat.add
noncomputable instance instMulNat : Mul Nat := Mul.mk Nat.mul

/-! ## Constructor eliminators, which `cases` and `match` use -/

set_option genCtorIdx true
attribute [gen_constructor_elims] Bool
set_option compiler.extract_closed false
attribute [gen_constructor_elims] Nat
attribute [gen_constructor_elims] Decidable

/-! ## Axioms -/

/-- What `sorry` stands for. -/
axiom sorryAx (α : Sort u) (synthetic : Bool) : α

init_quot

axiom propext {a b : Prop} (h : Iff a b) : Eq a b
axiom Quot.sound {α : Sort u} {r : α → α → Prop} {a b : α} (h : r a b) : Eq (Quot.mk r a) (Quot.mk r b)
axiom Classical.choice {α : Sort u} (h : Nonempty α) : α

/-- The type of string literals. The kernel turns a literal into constructors of Lean's own `String`, which this prelude
does not have; an opaque type has no constructors to be mistaken for them. -/
opaque String : Type := Nat
