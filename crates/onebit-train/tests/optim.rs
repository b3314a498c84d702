//! Adam: equal to PyTorch's, exactly resumable, and aware of gradients that are not finite.

#![allow(clippy::unwrap_used)]

mod common;

use common::Fixture;
use onebit_model::op::Role;
use onebit_train::optim::{AdamConfig, Optimizer, Rule};
use onebit_train::{Parameter, Params};

const TOLERANCE: f32 = 1e-6;

fn params(value: Vec<f32>, grad: Vec<f32>) -> Params {
    let parameter = |name: &str, role, value: Vec<f32>, grad| Parameter {
        name: name.into(),
        shape: vec![value.len()],
        role,
        value,
        grad,
    };
    let weight = parameter("conv.weight", Role::Binary, value, grad);
    let mean = parameter("bn.running_mean", Role::Statistic, vec![7.0; 3], Vec::new());
    Params { entries: vec![mean, weight] }
}

#[test]
fn adam_equals_pytorch() {
    for name in ["ops/adam", "ops/adam_weight_decay"] {
        let fixture = Fixture::read(name);
        let betas = [fixture.number("beta1"), fixture.number("beta2")];
        let config = AdamConfig { betas, eps: fixture.number("eps") };
        let (lr, decay) = (fixture.number("lr"), fixture.number("weight_decay"));
        let (gradients, expected) = (fixture.tensor("gradients"), fixture.tensor("params_after"));
        let value = fixture.tensor("param");
        let n = value.len();
        let mut params = params(value, vec![0.0; n]);
        let mut adam = Optimizer::new(Rule::Adam(config), &params);
        for (step, (gradient, expected)) in gradients.chunks(n).zip(expected.chunks(n)).enumerate()
        {
            params.entries[1].grad.copy_from_slice(gradient);
            adam.step(&mut params, lr, |_| decay).unwrap();
            for (found, expected) in params.entries[1].value.iter().zip(expected) {
                let close = (found - expected).abs() <= TOLERANCE;
                assert!(close, "{name}, step {step}: {found} is not {expected}");
            }
        }
        assert_eq!(params.entries[0].value, [7.0; 3], "statistics are not trained");
    }
}

#[test]
fn the_first_step_is_the_learning_rate_against_the_sign_of_the_gradient() {
    let mut params = params(vec![1.0; 3], vec![3.0, -0.25, 0.0]);
    let mut adam = Optimizer::new(Rule::Adam(AdamConfig::default()), &params);
    adam.step(&mut params, 0.5, |_| 0.0).unwrap();
    for (found, expected) in params.entries[1].value.iter().zip([0.5, 1.5, 1.0]) {
        assert!((found - expected).abs() <= TOLERANCE, "{found} is not {expected}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_named_wherever_it_is() {
    for (bad, place) in [(f32::NAN, 3), (f32::INFINITY, 40_000), (f32::NEG_INFINITY, 99_999)] {
        let mut gradient = vec![1.0; 100_000];
        gradient[place] = bad;
        let mut params = params(vec![0.0; 100_000], gradient);
        let mut adam = Optimizer::new(Rule::Adam(AdamConfig::default()), &params);
        assert_eq!(adam.step(&mut params, 0.1, |_| 0.0), Err("conv.weight".into()));
    }
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    let gradient: Vec<f32> = (0..50).map(|i| (i as f32).sin()).collect();
    let mut ours = params(vec![0.5; 50], gradient);
    let config = AdamConfig::default();
    let mut adam = Optimizer::new(Rule::Adam(config), &ours);
    adam.step(&mut ours, 0.01, |_| 1e-3).unwrap();
    let bytes = adam.to_bytes(&ours).unwrap();
    let mut theirs = ours.clone();
    let mut restored = Optimizer::from_bytes(Rule::Adam(config), &theirs, &bytes).unwrap();
    for lr in [0.02, 0.005] {
        adam.step(&mut ours, lr, |_| 1e-3).unwrap();
        restored.step(&mut theirs, lr, |_| 1e-3).unwrap();
    }
    assert_eq!(ours, theirs);
    assert_eq!(adam, restored);
}

#[test]
fn the_state_of_another_network_is_refused() {
    let ours = params(vec![0.0; 4], vec![0.0; 4]);
    let bytes = Optimizer::new(Rule::Adam(AdamConfig::default()), &ours).to_bytes(&ours).unwrap();
    let wider = params(vec![0.0; 5], vec![0.0; 5]);
    let error =
        Optimizer::from_bytes(Rule::Adam(AdamConfig::default()), &wider, &bytes).unwrap_err();
    assert_eq!(error, "tensor `conv.weight.m` is missing or of another shape");
    let empty = Params::default();
    let error =
        Optimizer::from_bytes(Rule::Adam(AdamConfig::default()), &empty, &bytes).unwrap_err();
    assert_eq!(error, "tensor `conv.weight.m` belongs to no parameter of the network");
    let error =
        Optimizer::from_bytes(Rule::Adam(AdamConfig::default()), &ours, &bytes[..40]).unwrap_err();
    assert!(!error.is_empty());
}

/// ReActNet's code keeps a bias where we keep a threshold, its negative.
#[test]
fn a_threshold_decays_as_the_bias_that_is_its_negative() {
    let start = [0.3, -0.7, 1e-3];
    let [mut threshold, mut bias] =
        [1.0, -1.0].map(|sign| params(start.map(|x| sign * x).to_vec(), vec![0.0; 3]));
    let config = AdamConfig::default();
    let mut optimizers =
        [Optimizer::new(Rule::Adam(config), &threshold), Optimizer::new(Rule::Adam(config), &bias)];
    for step in 0..20 {
        for (i, gradient) in [0.1, -0.02, 0.003].into_iter().enumerate() {
            let gradient = gradient * (step as f32 - 7.5);
            threshold.entries[1].grad[i] = gradient;
            bias.entries[1].grad[i] = -gradient;
        }
        let [first, second] = &mut optimizers;
        first.step(&mut threshold, 0.01, |_| 0.1).unwrap();
        second.step(&mut bias, 0.01, |_| 0.1).unwrap();
        let negative: Vec<f32> = bias.entries[1].value.iter().map(|x| -x).collect();
        assert_eq!(threshold.entries[1].value, negative, "step {step}");
    }
    assert!(threshold.entries[1].value.iter().zip(start).all(|(a, b)| (a - b).abs() > 1e-3));
}
